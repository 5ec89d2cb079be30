"""The httpd.conf that `pywsgid serve` and `pywsgid setup` write: one httpd for one application.

People read it, so each part begins with a comment, and only what an option needs is there. Rules:
nothing is started or written here. Every path goes through quote(), which raises ValueError. A
module of httpd is loaded only for a part that uses it; a Failure names the one that is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pywsgid.cli.messages import Failure
from pywsgid.cli.serve.address import PROBE_NAME, bracketed
from pywsgid.cli.serve.serve_options import RENAMED
from pywsgid.cli.serve.site import Site
from pywsgid.cli.server import quote
from pywsgid.wire.options import OPTIONS

GROUP = "app"  # the name of the daemon group
NOT_FROM_TABLE = (*RENAMED, "python", "python-home", "python-path")

Lines = list[str]
Part = Callable[[Site], Lines]


def configuration(site: Site) -> str:
    """Returns the text of httpd.conf. Raises ValueError for a word that httpd cannot read, Failure
    for a module that is missing."""
    parts = (
        heading,
        server,
        modules,
        identity,
        logs,
        http2,
        proxy,
        compression,
        group,
        application,
        files,
        rewriting,
        https,
        status,
        includes,
    )
    texts = ["\n".join(lines) for part in parts if (lines := part(site))]
    return "\n\n".join(texts) + "\n"


def part(comment: str) -> Callable[[Part], Part]:
    """Decorates a function that returns lines: puts a comment above them, if there are any."""

    def decorate(function: Part) -> Part:
        def wrapped(site: Site) -> Lines:
            lines = function(site)
            return [f"# {comment}", *lines] if lines else []

        return wrapped

    return decorate


# -------- the server


def heading(site: Site) -> Lines:
    return [f"# Written by pywsgid for {site.target.name}."]


@part("Directories, addresses and ports.")
def server(site: Site) -> Lines:
    options = site.options
    ports = [options["port"], *([options["https-port"]] if options["https-port"] else [])]
    root = options["document-root"]
    return [
        f"ServerRoot {quote(site.root)}",
        "DefaultRuntimeDir run",
        "PidFile run/httpd.pid",
        *(f"Listen {quote(listened(options['host'], port))}" for port in ports),
        f"ServerName {options['server-name']}:{options['port']}",
        f"DocumentRoot {quote(root) if root else 'htdocs'}",
    ]


def listened(host: str, port: int) -> str:
    return str(port) if host == "*" else f"{bracketed(host)}:{port}"


@part("The modules of httpd.")
def modules(site: Site) -> Lines:
    options = site.options
    wanted = [
        name for name, reasons in MODULES.items() if any(options[reason] for reason in reasons)
    ]
    for name in wanted:
        if not site.server.has(name):
            option = next(reason for reason in MODULES[name] if options[reason])
            raise Failure(
                "WSGID0410",
                f"--{option} needs mod_{name}, and {site.server.modules} does not contain it",
                f"install the package of httpd that contains it, or remove --{option}",
            )
    return [
        *site.server.mpm(),
        *site.server.load("unixd", "authz_core", "log_config", *wanted),
        f"LoadModule wsgid_module {quote(site.module)}",
    ]


# module of httpd -> the options that use it
MODULES = {
    "alias": ("url-alias",),
    "mime": ("url-alias", "document-root"),
    "rewrite": ("document-root", "https-only"),
    "ssl": ("https-port",),
    "socache_shmcb": ("https-port",),
    "http2": ("http2",),
    "remoteip": ("trust-proxy",),
    "setenvif": ("trust-proxy",),
    "filter": ("compress-responses",),
    "deflate": ("compress-responses",),
    "status": ("server-status",),
    "authz_host": ("server-status",),
}


@part("The user that httpd's children run as.")
def identity(site: Site) -> Lines:
    return [f"User {site.identity.name}", f"Group #{site.identity.gid}"] if site.identity else []


@part("Logs. The request with which pywsgid finds out whether httpd answers is not logged.")
def logs(site: Site) -> Lines:
    directory = site.options["log-directory"]
    error = f"{directory}/error_log" if directory else "/dev/stderr"
    access = f"{directory}/access_log" if directory else "/dev/stdout"
    lines = [f"ErrorLog {quote(error)}", f"LogLevel {site.options['log-level']}"]
    if site.options["access-log"]:
        form = "%h %l %u %t" if directory else "%h"
        lines += [
            f'LogFormat "{form} \\"%r\\" %>s %b" short',
            f"CustomLog {quote(access)} short \"expr=%{{HTTP_USER_AGENT}} != '{PROBE_NAME}'\"",
        ]
    return lines


@part("HTTP/2 for clients that ask for it.")
def http2(site: Site) -> Lines:
    return ["Protocols h2 h2c http/1.1"] if site.options["http2"] else []


@part("What trusted proxies report: the address of the client, and whether it uses HTTPS.")
def proxy(site: Site) -> Lines:
    if not site.options["trust-proxy"]:
        return []
    trusted = " || ".join(
        f"%{{CONN_REMOTE_ADDR}} -ipmatch '{address}'" for address in site.options["trust-proxy"]
    )
    return [
        f"RemoteIPHeader {site.options['trust-proxy-header']}",
        *(f"RemoteIPInternalProxy {address}" for address in site.options["trust-proxy"]),
        f"SetEnvIfExpr \"({trusted}) && %{{HTTP:X-Forwarded-Proto}} == 'https'\" HTTPS=on",
    ]


@part("Compression of text.")
def compression(site: Site) -> Lines:
    if not site.options["compress-responses"]:
        return []
    return [f"AddOutputFilterByType DEFLATE {' '.join(COMPRESSED)}"]


COMPRESSED = (
    "text/plain",
    "text/html",
    "text/xml",
    "text/css",
    "text/javascript",
    "application/javascript",
    "application/json",
    "image/svg+xml",
)


# -------- the application


@part("The daemon group: the processes of the application.")
def group(site: Site) -> Lines:
    words = [
        site.interpreter,
        f"home={site.directory}",
        *python_path(site),
        *daemon_words(site.options),
    ]
    if site.options["user"] and not site.options["group"] and site.application:
        words.append(f"group=#{site.application.gid}")  # the default is httpd's Group
    return [
        "WSGISocketPrefix run/wsgid",
        " \\\n    ".join([f"WSGIDaemonProcess {GROUP}", *map(quote, words)]),
        f"WSGIProcessName {GROUP}",
    ]


def python_path(site: Site) -> Lines:
    """The python-path= options. A script can import the modules beside it, whatever its working
    directory is."""
    given = site.options["python-path"] or []
    home = (
        [site.target.directory]
        if site.target.script and site.target.directory != site.directory
        else []
    )
    return [f"python-path={directory}" for directory in [*given, *home]]


def daemon_words(options: dict[str, Any]) -> Lines:
    """The options of WSGIDaemonProcess that the command line gives."""
    words = []
    for name in OPTIONS:
        value = None if name in NOT_FROM_TABLE else options[name]
        words += [
            f"{name}={item}"
            for item in (value if isinstance(value, list) else [value])
            if item is not None
        ]
    return words


@part("The URLs of the application. httpd runs a script only where access is granted.")
def application(site: Site) -> Lines:
    name = site.target.callable
    limit = site.options["limit-request-body"]
    return [
        f"WSGIScriptAlias {quote(site.options['mount-point'])} {quote(site.script)}",
        *([f"WSGICallableObject {quote(name)}"] if name != "application" else []),
        *([f"LimitRequestBody {limit}"] if limit is not None else []),
        "<Directory />",
        "    Require all denied",
        "</Directory>",
        f"<Directory {quote(os.path.dirname(site.script))}>",
        f"    <Files {quote(os.path.basename(site.script))}>",
        "        Require all granted",
        "    </Files>",
        "</Directory>",
    ]


@part("Files that httpd serves itself. An Alias comes before the application.")
def files(site: Site) -> Lines:
    lines = [types(site)] if site.options["url-alias"] or site.options["document-root"] else []
    for url, path in site.options["url-alias"] or []:
        directory = os.path.isdir(path)
        shown = path + "/" if directory and url.endswith("/") else path
        lines += [
            f"Alias {quote(url)} {quote(shown)}",
            *granted(
                path if directory else os.path.dirname(path),
                None if directory else os.path.basename(path),
            ),
        ]
    return lines


def types(site: Site) -> str:
    """The machine's table of file types, or the types that most sites need."""
    for path in (
        "/etc/mime.types",
        os.path.join(os.path.dirname(site.server.program), "../conf/mime.types"),
    ):
        if os.path.exists(path):
            return f"TypesConfig {quote(os.path.normpath(path))}"
    return "\n".join(
        ["TypesConfig /dev/null", *(f"AddType {kind} {ending}" for kind, ending in USUAL_TYPES)]
    )


USUAL_TYPES = (
    ("text/html", ".html"),
    ("text/css", ".css"),
    ("text/javascript", ".js .mjs"),
    ("text/plain", ".txt"),
    ("application/json", ".json .map"),
    ("image/png", ".png"),
    ("image/jpeg", ".jpg .jpeg"),
    ("image/gif", ".gif"),
    ("image/svg+xml", ".svg"),
    ("image/webp", ".webp"),
    ("image/vnd.microsoft.icon", ".ico"),
    ("font/woff2", ".woff2"),
    ("application/pdf", ".pdf"),
    ("application/wasm", ".wasm"),
    ("application/xml", ".xml"),
)


def granted(directory: str, name: str | None = None) -> Lines:
    inside = (
        [f"    <Files {quote(name)}>", "        Require all granted", "    </Files>"]
        if name
        else ["    Require all granted"]
    )
    return [f"<Directory {quote(directory)}>", *inside, "</Directory>"]


@part("Before the application: the redirect to HTTPS, and the files of the document root.")
def rewriting(site: Site) -> Lines:
    options = site.options
    lines = []
    if options["https-only"]:
        lines += [
            "RewriteCond %{HTTPS} !=on",
            f"RewriteRule ^ https://%{{SERVER_NAME}}:{options['https-port']}%{{REQUEST_URI}} "
            "[R=301,L,NE]",
        ]
    if options["document-root"]:
        lines += [
            "RewriteCond %{DOCUMENT_ROOT}%{REQUEST_URI} -f",
            "RewriteRule ^/(.*)$ %{DOCUMENT_ROOT}/$1 [L]",
        ]
    access = granted(options["document-root"]) if options["document-root"] else []
    return [*access, "RewriteEngine on", *lines] if lines else []


@part("HTTPS. The application gets `https` in wsgi.url_scheme.")
def https(site: Site) -> Lines:
    options = site.options
    if not options["https-port"]:
        return []
    inherit = ["    RewriteEngine on", "    RewriteOptions Inherit"] if rewriting(site) else []
    return [
        "SSLSessionCache shmcb:run/sessions(512000)",
        f"<VirtualHost *:{options['https-port']}>",
        f"    ServerName {options['server-name']}:{options['https-port']}",
        "    SSLEngine on",
        f"    SSLCertificateFile {quote(options['ssl-certificate-file'])}",
        f"    SSLCertificateKeyFile {quote(options['ssl-certificate-key-file'])}",
        *inherit,
        "</VirtualHost>",
    ]


@part("Status pages of the application and of httpd, for requests from this machine only.")
def status(site: Site) -> Lines:
    pages = ("wsgid-status", "server-status") if site.options["server-status"] else ()
    return [
        line
        for page in pages
        for line in (
            f"<Location /{page}>",
            f"    SetHandler {page}",
            "    Require local",
            "</Location>",
        )
    ]


@part("More configuration.")
def includes(site: Site) -> Lines:
    return [f"Include {quote(path)}" for path in site.options["include-file"] or []]
