"""A Flask application as Flask's documentation writes them: routes, a form, an upload, a stream, a
session, an error page.
"""

import hashlib

from flask import Flask, abort, redirect, render_template_string, request, session, url_for

app = application = Flask(__name__)
app.secret_key = "only for tests"


@app.get("/")
def index():
    return f"Hello from {url_for('index', _external=True)}"


@app.get("/user/<name>/<int:number>")
def user(name, number):
    return {"name": name, "number": number, "query": request.args.to_dict()}


@app.route("/form", methods=["GET", "POST"])
def form():
    if request.method == "POST":
        session["name"] = request.form["name"]
        return redirect(url_for("greeting"))
    return render_template_string('<form method="post"><input name="name"></form>')


@app.get("/greeting")
def greeting():
    return f"Hello {session['name']}"


@app.post("/upload")
def upload():
    file = request.files["file"]
    content = file.read()
    return {
        "name": file.filename,
        "size": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
    }


@app.get("/stream")
def stream():
    return app.response_class((f"line {number}\n" for number in range(1000)), mimetype="text/plain")


@app.get("/broken")
def broken():
    raise ValueError("broken on purpose")


@app.get("/teapot")
def teapot():
    abort(418)


@app.errorhandler(404)
def not_found(error):
    return "a page of the application's own", 404
