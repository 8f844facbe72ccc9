# A server on Perl's IO::Socket::SSL: the files of a folder, and POST is
# echoed. One connection at a time. Prints its port.
#
#     serve_perl.pl FOLDER CERTIFICATE KEY
use strict;
use warnings;
use File::Basename qw(basename);
use IO::Socket::SSL;

$SIG{PIPE} = "IGNORE";
$| = 1;
my ($folder, $certificate, $key) = @ARGV;
my $server = IO::Socket::SSL->new(
    LocalAddr => "127.0.0.1", LocalPort => 0, Listen => 16,
    SSL_server => 1, SSL_cert_file => $certificate, SSL_key_file => $key,
) or die $SSL_ERROR;
print $server->sockport, "\n";
while (1) {
    my $client = $server->accept or next;
    while (defined(my $start = <$client>)) {
        my ($method, $target) = split / /, $start;
        my ($length, $body, $last) = (0, "", 0);
        while (defined(my $line = <$client>)) {
            last if $line eq "\r\n";
            $length = $1 if $line =~ /^content-length: *(\d+)/i;
            $last = 1 if $line =~ /^connection: *close/i;
        }
        if ($method eq "POST") {
            while (length $body < $length) {
                read($client, $body, $length - length $body, length $body) or last;
            }
        } else {
            open my $file, "<:raw", "$folder/" . basename($target) or die $!;
            local $/;
            $body = <$file> // "";
        }
        print $client "HTTP/1.1 200 OK\r\nContent-Length: ", length $body, "\r\n\r\n";
        print $client $body if length $body;
        last if $last;
    }
    close $client;
}
