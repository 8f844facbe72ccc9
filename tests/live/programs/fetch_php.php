<?php
// Fetches URLs by PHP's https streams, a connection each, into files 0, 1, …
//
//     fetch_php.php --cafile FILE [--post FOLDER] URL…
//
// With --post, sends to each URL the file of FOLDER that has its last name.
$options = getopt('', ['cafile:', 'post:'], $rest);
foreach (array_slice($argv, $rest) as $number => $url) {
    $http = ['protocol_version' => 1.1, 'header' => ['Connection: close']];
    if (isset($options['post'])) {
        $http['method'] = 'POST';
        $http['content'] = file_get_contents($options['post'] . '/' . basename($url));
        $http['header'][] = 'Content-Type: application/octet-stream';
        $http['header'][] = 'Content-Length: ' . strlen($http['content']);
    }
    $context = stream_context_create(['http' => $http, 'ssl' => ['cafile' => $options['cafile']]]);
    $body = file_get_contents($url, false, $context);
    if ($body === false) {
        exit(1);
    }
    file_put_contents((string) $number, $body);
}
