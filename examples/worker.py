#!/usr/bin/env python3
"""A worker in Python (3.9 or newer), with the standard library alone.

    HANDLERS=none npm start
    python3 examples/worker.py
    curl localhost:8080/enqueue -H content-type:application/json -d '{"type":"count","payload":"a"}'

After SIGTERM or SIGINT it finishes the task in hand, gives back a task that comes later, and ends.
"""
import http.client, json, os, signal, socket, sys, threading, time, urllib.error, urllib.request

URL = os.environ.get("RINGQ_URL", "http://localhost:8080")
LEASE_MS = int(os.environ.get("LEASE_MS", "10000"))
WAIT_S = 5  # Also the longest time until it ends without a task in hand.
# A handler gets the payload, and an event that is set if the claim is lost: then it should end.
HANDLERS = {
    "count": lambda payload, lost: {"words": len(payload.split())},
    "nap": lambda payload, lost: lost.wait(payload["seconds"]),
}
stopping = threading.Event()

def call(path, text, timeout_s=10):
    """Posts JSON. Returns the status and the body of the answer; status 503 without an answer."""
    post = urllib.request.Request(URL + path, text.encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(post, timeout=timeout_s) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 503, str(error)

def extend(token, lease_ms, is_over, lost):
    """Extends the lease at a third of its length, until the task is over or the claim is lost."""
    while not is_over.wait(max(lease_ms / 3000, 0.1)):
        status, answer = call(f"/claims/{token}/extend", "{}")
        if status == 200:
            lease_ms = answer["lease_ms"]
        elif status == 409:
            return lost.set()

def settle(token, outcome, text):
    """Settles a claim. While the server is away it tries again, which is safe, for a minute."""
    for pause_s in (1, 2, 4, 8, 15, 30, 0):
        status, answer = call(f"/claims/{token}/{outcome}", text)
        if status < 500:
            break
        time.sleep(pause_s)
    return answer["status"] if status == 200 else f"not settled: {answer}"

def run(token, lease_ms, task):
    if stopping.is_set():
        return settle(token, "released", "{}")
    is_over, lost = threading.Event(), threading.Event()
    threading.Thread(target=extend, args=(token, lease_ms, is_over, lost), daemon=True).start()
    try:
        result = HANDLERS[task["type"]](task["payload"], lost)
        outcome, text = "done", json.dumps({"result": result}, allow_nan=False)
    except Exception as error:
        outcome, text = "failed", json.dumps({"code": type(error).__name__, "message": str(error)})
    print(task["id"], "claim lost" if lost.is_set() else settle(token, outcome, text), flush=True)
    is_over.set()

for number in (signal.SIGTERM, signal.SIGINT):
    # In a thread of its own: the main one may have been interrupted while it locks the event.
    signal.signal(number, lambda *_: threading.Thread(target=stopping.set).start())
name = f"{socket.gethostname()}-{os.getpid()}"
wanted = {"types": list(HANDLERS), "lease_ms": LEASE_MS, "wait_ms": WAIT_S * 1000, "worker": name}
pause_s = 1
while not stopping.is_set():
    status, answer = call("/claims", json.dumps(wanted), WAIT_S + 10)
    if status == 200:
        pause_s = 1
        for claim in answer["claims"]:
            run(claim["token"], claim["lease_ms"], claim["task"])
    elif status >= 500:  # The server is away, stops, or can't write its file.
        stopping.wait(pause_s := min(pause_s * 2, 15))
    else:
        sys.exit(f"the server gives no tasks: {answer}")
