# Fetches URLs by Perl's HTTP::Tiny and IO::Socket::SSL into files 0, 1, 2, …
#
#     fetch_perl.pl --cafile FILE [--post FOLDER] URL…
#
# With --post, sends to each URL the file of FOLDER that has its last name.
use strict;
use warnings;
use File::Basename qw(basename);
use Getopt::Long qw(GetOptions);
use HTTP::Tiny;

my ($cafile, $post);
GetOptions("cafile=s" => \$cafile, "post=s" => \$post) or die;

sub slurp {
    open my $file, "<:raw", shift or die $!;
    local $/;
    return <$file> // "";
}

my $http = HTTP::Tiny->new(verify_SSL => 1, SSL_options => { SSL_ca_file => $cafile });
my $number = 0;
for my $url (@ARGV) {
    my %options;
    if (defined $post) {
        %options = (
            content => slurp("$post/" . basename($url)),
            headers => { "Content-Type" => "application/octet-stream" },
        );
    }
    my $response = $http->request(defined $post ? "POST" : "GET", $url, \%options);
    die "$url: $response->{status} $response->{content}" if $response->{status} != 200;
    open my $file, ">:raw", $number++ or die $!;
    print $file $response->{content};
}
