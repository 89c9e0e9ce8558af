"""A group_send from a view, as most sites have them."""

from channels.layers import get_channel_layer
from django.http import HttpResponse
from django.views.decorators.http import require_POST


@require_POST
async def send(request, group):
    """Sends the body to the group."""
    await get_channel_layer().group_send(group, {"type": "relay", "text": request.body.decode()})
    return HttpResponse(status=204)
