"""Pages: who am I, and say something to a group."""

import time

from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_http_methods, require_POST

from gatecast.django import group_send, ticket


@ensure_csrf_cookie
def home(request: HttpRequest) -> HttpResponse:
    """Tell who is logged in."""
    user = request.user
    return JsonResponse({"user": str(user.pk) if user.is_authenticated else None})


@login_required
@require_POST
def say(request: HttpRequest, group: str) -> HttpResponse:
    """Send the posted text to a group, from inside a request as a site does."""
    group_send(group, {"text": request.POST["text"], "by": request.user.get_username()})
    return JsonResponse({"ok": True})


@login_required
def socket_ticket(request: HttpRequest) -> HttpResponse:
    """Give a ticket for one socket."""
    return JsonResponse({"ticket": ticket(request, perms=["auth.add_user", "auth.delete_user"])})


@require_http_methods(["PUT"])
def leave(request: HttpRequest) -> HttpResponse:
    """Log out, and end when the body has come: the test decides when a transaction is over. A body of "no" rolls it back."""
    began = time.time()
    logout(request)
    if request.read() == b"no":
        raise Http404
    return JsonResponse({"began": began})
