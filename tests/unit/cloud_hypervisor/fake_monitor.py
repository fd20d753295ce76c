"""Stands in for Cloud Hypervisor's process where no guest is needed: its sockets, requests and ends.

What it was asked is in the file 'requests' of its directory, one JSON object a line. Lines sent to
the socket 'control' there make the guest or the monitor do something; files there change what it
answers: 'refuse' (a request and its causes), 'deaf' (no heed of the power button), 'filling' (how
often a snapshot comes too early).
"""
import array
import json
import os
import socket
import sys
import threading
import time

VERSION = os.environ.get("FAKE_VERSION", "53.0")
GREETING = b"\nATTEST-AGENT/1 machine=x86_64 boot=fake\n"


def option(name):
    return sys.argv[sys.argv.index(name) + 1]


class Monitor:
    def __init__(self):
        self.api = socket.socket(fileno=int(option("--api-socket").split("=")[1]))
        self.events = int(option("--event-monitor").split("=")[1])
        self.config = None
        self.serial = None
        self.clients = []
        self.boots = 0
        self.agent = None

    def tell(self, source, event):
        text = json.dumps({"timestamp": {"secs": 1, "nanos": 2}, "source": source, "event": event,
                           "properties": None}, indent=2)
        os.write(self.events, text.encode() + b"\n\n")

    # ---- the console ----

    def open_serial(self):
        serial = self.config["serial"]
        if serial["mode"] == "File":
            self.serial = open(serial["file"], "wb", buffering=0)
            return
        if os.path.exists(serial["socket"]):
            os.unlink(serial["socket"])
        self.serial = socket.socket(socket.AF_UNIX)
        self.serial.bind(serial["socket"])
        self.serial.listen()

    def close_serial(self):
        for client in self.clients:
            client.close()
        self.clients = []
        self.serial.close()

    def say(self, text):
        if self.config["serial"]["mode"] == "File":
            self.serial.write(text.encode())
            return
        if not self.clients:
            self.clients.append(self.serial.accept()[0])
        self.clients[0].sendall(text.encode())

    # ---- the guest ----

    def start(self):
        self.boots += 1
        path = self.config["vsock"]["socket"]
        if os.path.exists(path):
            os.unlink(path)
        self.vsock = socket.socket(socket.AF_UNIX)
        self.vsock.bind(path)
        self.vsock.listen()
        threading.Thread(target=self.take_calls, args=(self.vsock,), daemon=True).start()
        threading.Thread(target=self.dial, args=(self.boots,), daemon=True).start()
        self.say(f"boot {self.boots} of {self.config['payload']['cmdline'].split()[-1]}\n")

    def dial(self, boot):
        while boot == self.boots:
            agent = socket.socket(socket.AF_UNIX)
            try:
                agent.connect(self.config["vsock"]["socket"] + "_1024")
                self.agent = agent
                agent.sendall(GREETING)
                while agent.recv(4096):
                    pass
            except OSError:
                pass
            agent.close()
            time.sleep(0.02)

    def take_calls(self, listener):
        while True:
            try:
                call = listener.accept()[0]
            except OSError:
                return
            line = call.recv(64)
            port = line.split()[1].decode() if line.startswith(b"CONNECT ") else ""
            if port == "1234":
                call.sendall(b"OK 1073741824\nSpawning backdoor root shell...\n")
                self.clients_of_shell = call
            else:
                call.close()

    def reboot(self):
        self.tell("vm", "rebooting")
        self.boots += 1
        if self.agent:
            self.agent.shutdown(socket.SHUT_RDWR)
        self.vsock.close()
        self.close_serial()
        self.boots -= 1
        self.open_serial()
        self.start()
        self.tell("vm", "rebooted")

    # ---- requests ----

    def handle(self, method, path, body, fds):
        with open("requests", "a") as log:
            log.write(json.dumps({"request": f"{method} {path}", "fds": len(fds),
                                  "body": json.loads(body) if body else None}) + "\n")
        name = path.rsplit("/", 1)[1]
        if os.path.exists("refuse"):
            refused, *causes = open("refuse").read().splitlines()
            if refused == name:
                return 500, causes
        value = json.loads(body) if body else None
        if name == "vmm.ping":
            return 200, {"version": VERSION}
        if name == "vm.create":
            self.config = dict(value)
            self.open_serial()
        elif name == "vm.add-net":
            self.config.setdefault("net", []).append(dict(value, fds=[-1] if fds else None))
            return 200, {"id": value["id"], "bdf": "0000:00:05.0"}
        elif name == "vm.boot":
            self.start()
            self.tell("vm", "booted")
        elif name == "vm.snapshot":
            if os.path.exists("filling"):
                left = int(open("filling").read()) - 1
                if left < 0:
                    os.unlink("filling")
                else:
                    open("filling", "w").write(str(left))
                    return 500, ["Error from API", "The VM could not be snapshotted",
                                 "VM on-demand memory restore is still in progress"]
            target = value["destination_url"][len("file://"):]
            for file, text in (("config.json", json.dumps(self.config)), ("state.json", "{}"),
                               ("memory-ranges", "ram")):
                open(os.path.join(target, file), "w").write(text)
        elif name == "vm.restore":
            source = value["source_url"][len("file://"):]
            self.config = json.load(open(os.path.join(source, "config.json")))
            open(os.path.join(source, "memory-ranges")).read()
            self.open_serial()
        elif name == "vm.resume" and not self.boots:
            self.start()
        elif name == "vm.power-button" and not os.path.exists("deaf"):
            self.say("reboot: Power down\n")
            os._exit(0)
        elif name == "vmm.shutdown":
            os._exit(0)
        return 204, None

    def serve(self, connection):
        buffer, fds = b"", []
        while True:
            data, control, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(64))
            for _, _, more in control:
                fds += array.array("i", more[:len(more) // 4 * 4]).tolist()
            if not data:
                return
            buffer += data
            while b"\r\n\r\n" in buffer:
                head, rest = buffer.split(b"\r\n\r\n", 1)
                lines = head.decode().split("\r\n")
                length = 0
                for line in lines[1:]:
                    if line.lower().startswith("content-length:"):
                        length = int(line.split(":")[1])
                if len(rest) < length:
                    break
                body, buffer = rest[:length], rest[length:]
                method, path, _ = lines[0].split()
                status, reply = self.handle(method, path, body, fds)
                fds = []
                text = b"" if reply is None else json.dumps(reply).encode()
                size = f"Content-Length: {len(text)}\r\n" if text else ""
                connection.sendall(f"HTTP/1.1 {status} X\r\n{size}\r\n".encode() + text)

    def obey(self, line):
        word, _, rest = line.partition(" ")
        if word == "say":
            self.say(rest + "\n")
        elif word == "event":
            self.tell(*rest.split())
        elif word == "garbage":
            os.write(self.events, b"what?\n")
        elif word == "reboot":
            self.reboot()
        elif word == "exit":
            print("Error: the end of everything", file=sys.stderr, flush=True)
            os._exit(int(rest))

    def take_orders(self):
        listener = socket.socket(socket.AF_UNIX)
        if os.path.exists("control"):
            os.unlink("control")
        listener.bind("control")
        listener.listen()
        while True:
            for line in listener.accept()[0].makefile():
                self.obey(line.rstrip("\n"))

    def run(self):
        threading.Thread(target=self.take_orders, daemon=True).start()
        while True:
            threading.Thread(target=self.serve, args=(self.api.accept()[0],), daemon=True).start()


if "--version" in sys.argv:
    print(f"cloud-hypervisor v{VERSION}")
else:
    Monitor().run()
