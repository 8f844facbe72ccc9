"""Imports ssl only when it is asked for a file, with a libssl of its own.

Usage: late_import.py LIBSSL PORT. Orders on stdin: get TARGET FILE -> "done".
"""

import ctypes
import sys

LIBRARY, PORT = sys.argv[1], int(sys.argv[2])


def get(target, name):
    if "ssl" not in sys.modules:
        ctypes.CDLL(LIBRARY, mode=ctypes.RTLD_GLOBAL)
    import http.client
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", PORT, context=context)
    connection.request("GET", target)
    response = connection.getresponse()
    with open(name, "wb") as file:
        file.write(response.read())
    connection.close()
    if response.status != 200:
        sys.exit(f"{target}: {response.status}")


print("ready")
for line in sys.stdin:
    _, target, name = line.split()
    get(target, name)
    print("done")
