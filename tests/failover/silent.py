"""Holds a port of 127.0.0.1 as a machine without power would: whoever connects hears nothing, not even a refusal.

A socket that nobody accepts from, its queue full: the kernel then ignores who knocks. Prints a line when it is so; ends
with SIGTERM.

usage: silent.py PORT
"""

import signal
import socket
import sys
import time

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
while True:
    try:
        listener.bind(("127.0.0.1", int(sys.argv[1])))
        break
    except OSError:  # the last processes of the dead server
        time.sleep(0.05)
listener.listen(0)
knocking = []
for _ in range(4):
    knocking.append(socket.socket())
    knocking[-1].setblocking(False)
    knocking[-1].connect_ex(("127.0.0.1", int(sys.argv[1])))
print("silent", flush=True)
signal.pause()
