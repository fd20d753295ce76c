#!/usr/bin/env python3
"""with_page.py COMMAND...: runs COMMAND, and ends as it ends, while the host's 127.0.0.1 serves a page
at port $ATTEST_PAGE_PORT."""

import http.server
import os
import subprocess
import sys
import threading


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a page of the host, for " + self.path.encode() + b"\n")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["ATTEST_PAGE_PORT"] = str(server.server_port)
status = subprocess.run(sys.argv[1:]).returncode
sys.exit(128 - status if status < 0 else status)
