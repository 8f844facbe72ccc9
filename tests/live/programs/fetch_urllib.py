"""Fetches URLs by urllib, a connection each, into files 0, 1, 2, …

    fetch_urllib.py [--cafile FILE] URL…
    fetch_urllib.py [--cafile FILE] --post FILE URL        into `answer`
"""

import argparse
import ssl
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--cafile")
parser.add_argument("--post")
parser.add_argument("urls", nargs="+")
arguments = parser.parse_args()

handlers = [urllib.request.ProxyHandler({})]
if arguments.cafile:
    context = ssl.create_default_context(cafile=arguments.cafile)
    handlers.append(urllib.request.HTTPSHandler(context=context))
opener = urllib.request.build_opener(*handlers)
for number, url in enumerate(arguments.urls):
    data, name = None, str(number)
    if arguments.post:
        name = "answer"
        with open(arguments.post, "rb") as file:
            data = file.read()
    headers = {"Content-Type": "application/octet-stream"} if arguments.post else {}
    with opener.open(urllib.request.Request(url, data, headers), timeout=60) as response:
        with open(name, "wb") as file:
            file.write(response.read())
