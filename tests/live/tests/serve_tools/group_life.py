"""A group's life through redis-py: group_life.py PORT PROTOCOL prints `done`."""

import sys
import threading
import time

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])


def connect():
    return redis.Redis(port=port, protocol=protocol, decode_responses=True, socket_timeout=20)


def entries(reply):
    """[(id, fields)] of one stream, in either protocol and either shape that redis-py gives it."""
    if isinstance(reply, dict):
        reply = list(reply.items())
    (stream, found), = reply
    assert stream == "orders", reply
    if found and isinstance(found[0], list) and (not found[0] or isinstance(found[0][0], tuple)):
        (found,) = found  # In RESP3 there is one more list around them.
    return [(id, fields) for id, fields in found]


def equal(got, wanted):
    assert got == wanted, f"{got!r} is not {wanted!r}"


client, other = connect(), connect()
equal(client.ping(), True)
equal(client.xgroup_create("orders", "crew", id="0", mkstream=True), True)
try:
    client.xgroup_create("orders", "crew", id="0")
    raise AssertionError("created twice")
except redis.ResponseError as error:
    equal(str(error), "BUSYGROUP Consumer Group name already exists")

# Blocked, and woken by an entry that another connection adds.
woken = []
reader = threading.Thread(
    target=lambda: woken.append(other.xreadgroup("crew", "alice", {"orders": ">"}, block=15_000))
)
reader.start()
since = time.monotonic()
while not any("b" in each["flags"] for each in client.client_list()):
    assert time.monotonic() - since < 10, client.client_list()
    time.sleep(0.01)
first = client.xadd("orders", {"msg": "a", "n": "1"})
reader.join()
assert time.monotonic() - since < 10
equal(entries(woken[0]), [(first, {"msg": "a", "n": "1"})])
# And one that nobody wakes.
since = time.monotonic()
assert not client.xreadgroup("crew", "alice", {"orders": ">"}, block=100)
assert 0.1 <= time.monotonic() - since < 5

ids = [first] + [client.xadd("orders", {"msg": text}) for text in "bcd"]
taken = client.xreadgroup("crew", "alice", {"orders": ">"}, count=2)
equal([id for id, _ in entries(taken)], ids[1:3])
equal(client.xack("orders", "crew", first), 1)
equal(client.xack("orders", "crew", first), 0)

pending = client.xpending("orders", "crew")
equal((pending["pending"], pending["min"], pending["max"]), (2, ids[1], ids[2]))
equal(pending["consumers"], [{"name": "alice", "pending": 2}])

# Bob takes over what Alice left.
claimed = client.xautoclaim("orders", "crew", "bob", min_idle_time=0, start_id="0-0")
equal(claimed[0], "0-0")
equal([id for id, _ in claimed[1]], ids[1:3])
rows = client.xpending_range("orders", "crew", min="-", max="+", count=10)
equal([(row["message_id"], row["consumer"], row["times_delivered"]) for row in rows],
      [(ids[1], "bob", 2), (ids[2], "bob", 2)])
equal(entries(client.xreadgroup("crew", "alice", {"orders": "0"})), [])
own = client.xreadgroup("crew", "bob", {"orders": "0"})
equal([id for id, _ in entries(own)], ids[1:3])

with client.pipeline(transaction=True) as pipe:
    pipe.xack("orders", "crew", ids[1])
    pipe.xlen("orders")
    equal(pipe.execute(), [1, 4])

equal(client.xgroup_delconsumer("orders", "crew", "alice"), 0)
equal(client.xgroup_delconsumer("orders", "crew", "bob"), 1)
equal(client.xinfo_groups("orders")[0]["pending"], 0)
equal(client.xrange("orders", count=1), [(first, {"msg": "a", "n": "1"})])
equal(client.xgroup_destroy("orders", "crew"), 1)
try:
    client.xreadgroup("crew", "alice", {"orders": ">"})
    raise AssertionError("read without a group")
except redis.ResponseError as error:
    assert str(error).startswith("NOGROUP No such key 'orders' or consumer group 'crew'"), error
print("done")
