"""The two consumers, written as Channels' tutorial writes them."""

import json
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer


class Publisher(AsyncWebsocketConsumer):
    """Sends what it is told to the group it is told: {"op": "send", "group": …, "data": …}."""

    async def connect(self):
        await self.accept()
        await self.say("joined", 1)

    async def receive(self, text_data=None, bytes_data=None):
        message = json.loads(text_data)
        await getattr(self, "op_" + message["op"])(message)

    async def op_send(self, message):
        await self.channel_layer.group_send(message["group"], {"type": "relay", "text": message["data"]})

    async def say(self, what, count):
        """Tells the client that so many of its requests are done."""
        await self.send(text_data=json.dumps({"op": what, "count": count}))


class Member(Publisher):
    """Is in the groups of its query string, ?groups=a,b, joins and leaves others, and passes on what they are sent."""

    async def connect(self):
        self.joined = set(parse_qs(self.scope["query_string"].decode())["groups"][0].split(","))
        await self.accept()
        for group in self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.say("joined", len(self.joined))

    async def disconnect(self, code):
        for group in self.joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def op_join(self, message):
        self.joined.add(message["group"])
        await self.channel_layer.group_add(message["group"], self.channel_name)
        await self.say("joined", 1)

    async def op_leave(self, message):
        self.joined.discard(message["group"])
        await self.channel_layer.group_discard(message["group"], self.channel_name)
        await self.say("left", 1)

    async def relay(self, event):
        """What group_send calls, by the type of the event."""
        await self.send(text_data=event["text"])
