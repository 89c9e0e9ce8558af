"""Publish numbers to a subject with nats-py, then make one request and print its answer.

publish.py SERVER TOKEN SUBJECT TOTAL: sends TOTAL publishes of 0, 1, 2, … and as a request to another group.
"""

import asyncio
import sys

import nats


async def main(server: str, token: str, subject: str, total: int) -> None:
    """Publish in order over one connection."""
    nc = await nats.connect(server, token=token, allow_reconnect=False)
    for number in range(total):
        await nc.publish(subject, str(number).encode())
    await nc.flush()
    answer = await nc.request(subject + ".asked", b'"last"', timeout=10)
    print(answer.data.decode())
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
