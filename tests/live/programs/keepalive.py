"""One connection, one request for each line of stdin.

    keepalive.py [--cafile FILE] URL

Prints `connected`, then after each line (a target) the size of the answer's
body; ends with stdin. Lets a test join in the middle of a connection.
"""

import argparse
import http.client
import ssl
import sys
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("--cafile")
parser.add_argument("url")
arguments = parser.parse_args()

parts = urlsplit(arguments.url)
if parts.scheme == "https":
    context = ssl.create_default_context(cafile=arguments.cafile)
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
else:
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
connection.connect()
print("connected", flush=True)
for line in sys.stdin:
    connection.request("GET", line.strip())
    response = connection.getresponse()
    print(len(response.read()), flush=True)
