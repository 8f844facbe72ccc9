<?php
// A server on PHP's TLS streams: the files of a folder, and POST is echoed. One
// connection at a time. Prints its port.
//
//     serve_php.php FOLDER CERTIFICATE KEY
[, $folder, $certificate, $key] = $argv;
$context = stream_context_create(['ssl' => ['local_cert' => $certificate, 'local_pk' => $key]]);
$flags = STREAM_SERVER_BIND | STREAM_SERVER_LISTEN;
$server = stream_socket_server('tls://127.0.0.1:0', $code, $error, $flags, $context);
if (!$server) {
    fwrite(STDERR, $error);
    exit(1);
}
echo explode(':', stream_socket_get_name($server, false))[1], "\n";
while (true) {
    $client = @stream_socket_accept($server, -1);
    while ($client && ($start = fgets($client)) !== false) {
        [$method, $target] = explode(' ', $start);
        $length = 0;
        $last = false;
        while (($line = fgets($client)) !== "\r\n" && $line !== false) {
            if (stripos($line, 'content-length:') === 0) {
                $length = (int) substr($line, 15);
            }
            $last = $last || stripos($line, 'connection: close') === 0;
        }
        if ($method !== 'POST') {
            $body = file_get_contents($folder . '/' . basename($target));
        } else {
            $body = $length ? stream_get_contents($client, $length) : '';
        }
        fwrite($client, "HTTP/1.1 200 OK\r\nContent-Length: " . strlen($body) . "\r\n\r\n" . $body);
        if ($last) {
            break;
        }
    }
    if ($client) {
        fclose($client);
    }
}
