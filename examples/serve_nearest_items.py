"""Serve the items nearest to a user over HTTP, on this machine only.

    batch-recall export-user-tower --lake lake --to online
    python examples/serve_nearest_items.py online --port 8000
    curl -d '{"user_id": "196", "history": ["242", "302"], "k": 5}' http://127.0.0.1:8000

history: item ids, oldest first. features: raw values by name. What is left out is missing. A later export is followed
without a restart; while it is damaged, the earlier one is served.
"""

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch

from batch_recall import OnlineModel, User

MAX_BYTES = 1 << 20  # of a request
RETRY = 100  # times the seconds between two looks, after a damaged export: all of its bytes are read


class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True  # connections stay open, answers leave at once
    timeout = 30  # seconds without a byte, after which a connection is closed

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        is_number = length.isdecimal() and len(length) < 20
        if not is_number or int(length) > MAX_BYTES:
            self.close_connection = True  # the request is not read
            error = f"Content-Length must be 0 to {MAX_BYTES}, got {length!r:.100}"
            return self.answer(413 if is_number else 400, {"error": error})
        try:
            found = nearest(self.server.model, json.loads(self.rfile.read(int(length))))
        except (ValueError, RecursionError) as error:  # also for text that is not JSON, or nested too deeply
            return self.answer(400, {"error": str(error)})
        self.answer(200, found)

    def answer(self, status: int, values: dict) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A line for each request would be longer than its answer."""


class Server(ThreadingHTTPServer):
    def __init__(self, folder: str, port: int, seconds: float) -> None:
        self.model = OnlineModel.current(folder)
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.follow, args=(seconds,), daemon=True).start()

    def follow(self, seconds: float) -> None:
        """Follow later exports, beside the requests; whatever is wrong with one, the earlier one is served."""
        while True:
            time.sleep(seconds)
            try:
                self.model = self.model.refreshed()
            except Exception as error:
                print(f"still serving {self.model.version}: {error}", flush=True)
                time.sleep(RETRY * seconds)


def nearest(model: OnlineModel, asked: object) -> dict:
    """The answer to a request. Raises ValueError for a request that is no object of these names, or a wrong value."""
    if not isinstance(asked, dict) or not asked.keys() <= {"user_id", "history", "features", "k"}:
        raise ValueError(f"a request must be an object of user_id, history, features and k, got {asked!r:.100}")
    user = User(asked.get("user_id"), asked.get("history", []), asked.get("features", {}))
    found = model.nearest(user, asked.get("k", 10))
    return {"version": model.version, "items": [{"item_id": item, "similarity": score} for item, score in found]}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="what export_user_tower was given as --to")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument("--poll", type=float, default=0.5, metavar="SECONDS", help="between two looks for an export")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # requests run side by side instead
    server = Server(args.folder, args.port, args.poll)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
