"""Fetches URLs by urllib, a connection each, into files 0, 1, 2, …

    fetch_urllib.py [--cafile FILE] URL…
    fetch_urllib.py [--cafile FILE] --post FOLDER URL…

With --post, sends to each URL the file of FOLDER that has its last name.
"""

import argparse
import os
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
    data, headers = None, {}
    if arguments.post:
        with open(os.path.join(arguments.post, url.rpartition("/")[2]), "rb") as file:
            data = file.read()
        headers = {"Content-Type": "application/octet-stream"}
    with opener.open(urllib.request.Request(url, data, headers), timeout=60) as response:
        with open(str(number), "wb") as file:
            file.write(response.read())
