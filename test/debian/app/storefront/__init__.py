"""A shop window small enough to read: what the test image exists to carry."""

import flask
import requests
from cryptography.fernet import Fernet

app = flask.Flask(__name__)
cookies = Fernet(Fernet.generate_key())


@app.get("/")
def window():
    return {"open": True, "requests": requests.__version__}
