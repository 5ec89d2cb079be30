"""An upload with a CSRF check, a streaming download, and a view that fails."""

import hashlib

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token

BLOCK = 65536


def upload(request):
    """A form with the CSRF token; answers with the digest of the uploaded file."""
    if request.method != "POST":
        return HttpResponse(
            f'<form method="post"><input name="csrfmiddlewaretoken" value="{get_token(request)}"></form>'
        )
    file = request.FILES["file"]
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return JsonResponse({"name": file.name, "size": file.size, "digest": digest.hexdigest()})


def download(request, size):
    """`size` blocks of 64 KiB, each filled with the low byte of its number."""
    return StreamingHttpResponse(
        (bytes([number & 255]) * BLOCK for number in range(size)), "application/octet-stream"
    )


def broken(request):
    raise ValueError("broken on purpose")
