"""Each framework at /NAME: /NAME/upload answers with the number of bytes that it has read, /NAME/form
with the field `text` of a form and the size of its file. /dav is a WebDAV server.
"""
import os
import tempfile
from wsgiref.util import shift_path_info

# -------- Bottle

import bottle

bottle_app = bottle.Bottle()


@bottle_app.route("/upload", ["POST", "PUT"])
def bottle_upload():
    return str(len(bottle.request.body.read()))


@bottle_app.post("/form")
def bottle_form():
    file = bottle.request.files["file"].file
    return "%s %d" % (bottle.request.forms["text"], len(file.read()))


# -------- CherryPy

import cherrypy


class Root:
    @cherrypy.expose
    @cherrypy.config(**{"request.process_request_body": False})
    def upload(self):
        return str(len(cherrypy.request.rfile.read())).encode()

    @cherrypy.expose
    def form(self, text, file):
        return ("%s %d" % (text, len(file.file.read()))).encode()


cherrypy.config.update({"log.screen": False, "environment": "embedded"})
cherrypy_app = cherrypy.Application(Root(), None)

# -------- Django

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
)


@csrf_exempt
def django_upload(request):
    return HttpResponse(str(len(request.body)))


@csrf_exempt
def django_form(request):
    return HttpResponse("%s %d" % (request.POST["text"], len(request.FILES["file"].read())))


urlpatterns = [path("upload", django_upload), path("form", django_form)]
django_app = get_wsgi_application()

# -------- Falcon

import falcon


class FalconUpload:
    def on_post(self, request, response):
        response.text = str(len(request.bounded_stream.read()))

    on_put = on_post


class FalconForm:
    def on_post(self, request, response):
        parts = {part.name: part.stream.read() for part in request.get_media()}
        response.text = "%s %d" % (parts["text"].decode(), len(parts["file"]))


falcon_app = falcon.App()
falcon_app.add_route("/upload", FalconUpload())
falcon_app.add_route("/form", FalconForm())

# -------- Flask

import flask

flask_app = flask.Flask("frameworks")


@flask_app.route("/upload", methods=["POST", "PUT"])
def flask_upload():
    return str(len(flask.request.get_data()))


@flask_app.post("/form")
def flask_form():
    return "%s %d" % (flask.request.form["text"], len(flask.request.files["file"].read()))


# -------- Pyramid

from pyramid.config import Configurator
from pyramid.response import Response

config = Configurator()
config.add_route("upload", "/upload")
config.add_view(lambda request: Response(str(len(request.body))), route_name="upload")
config.add_route("form", "/form")
config.add_view(
    lambda request: Response("%s %d" % (request.POST["text"], len(request.POST["file"].file.read()))),
    route_name="form",
)
pyramid_app = config.make_wsgi_app()

# -------- WsgiDAV

from wsgidav.wsgidav_app import WsgiDAVApp

dav_app = WsgiDAVApp(
    {
        "provider_mapping": {"/": tempfile.mkdtemp()},
        "simple_dc": {"user_mapping": {"*": True}},
        "verbose": 1,
        "mount_path": "/dav",
    }
)

APPLICATIONS = {
    "bottle": bottle_app, "cherrypy": cherrypy_app, "dav": dav_app, "django": django_app,
    "falcon": falcon_app, "flask": flask_app, "pyramid": pyramid_app,
}


def application(environ, start_response):
    return APPLICATIONS[shift_path_info(environ)](environ, start_response)
