"""An app with its own accounts and sign-in (Flask-Login): Valetkey uses them and has no accounts of its own.

Needs Flask-Login, Flask-SQLAlchemy and Flask-WTF.
"""

import os
import re
import time
from uuid import uuid4

from flask import Flask, abort, jsonify, redirect, render_template_string, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect, FlaskForm
from werkzeug.security import check_password_hash, generate_password_hash
from wtforms import EmailField, PasswordField, StringField, SubmitField
from wtforms.validators import InputRequired

from valetkey import Owner, Valetkey, current_token, require_oauth

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ.get("SECRET_KEY"),  # `valetkey serve` generates one if it is not set
    SQLALCHEMY_DATABASE_URI=os.environ.get("DATABASE_URL", "sqlite:///people.db"),
)
db = SQLAlchemy(app)
CSRFProtect(app)
login_manager = LoginManager(app)
login_manager.login_view = "login"


class User(UserMixin, db.Model):
    id = db.Column(db.String(32), primary_key=True, default=lambda: uuid4().hex)  # never reused
    email = db.Column(db.String(254), unique=True, nullable=False)
    name = db.Column(db.String(100), nullable=False)
    password_hash = db.Column(db.String(200), nullable=False)


class LoginForm(FlaskForm):
    email = EmailField(validators=[InputRequired()])
    password = PasswordField(validators=[InputRequired()])
    submit = SubmitField("Log in", id="sign-in")


class JoinForm(LoginForm):
    name = StringField(validators=[InputRequired()])
    submit = SubmitField("Join", id="sign-up")


@login_manager.user_loader
def load_user(user_id):
    return db.session.get(User, user_id)


class People:
    """What Valetkey needs to know about the app's accounts: four methods, and ``sign_out``, which is optional."""

    def current(self):
        """Return the user who is signed in on this request, and since when; None if nobody is signed in."""
        return self._owner(current_user, session.get("signed_in_at")) if current_user.is_authenticated else None

    def sign_in_url(self, next, *, fresh=False, acr_values=()):
        """Return the URL of the sign-in page; `next` is the local path to redirect to after the sign-in.

        `fresh` asks for a new sign-in: this form always requires the password. There is only one way to sign in, so
        `acr_values` is ignored.
        """
        return url_for("login", next=next)

    def find(self, sub):
        """Return the user; None if the account was deleted, which makes all its tokens invalid."""
        user = load_user(sub)
        return self._owner(user) if user else None

    def claims(self, sub, scope):
        """Return the claims about the user that a client may read with these scopes."""
        user = load_user(sub)
        return {"name": user.name} if user and "profile" in scope else {}

    def sign_out(self):
        """Sign the user out; a client requested it. Without this method, clients cannot request sign-out."""
        logout_user()

    def _owner(self, user, since=None):
        return Owner(user.id, auth_time=since, name=user.name, email=user.email, sid=session.get("sid"))


valet = Valetkey(app, resource_owner=People(), scopes={"profile": "See your name"})

with app.app_context():
    db.create_all()


@app.get("/api/me")
@require_oauth("profile", limit="100/minute")
def me():
    return jsonify(name=load_user(current_token.user_id).name)


@app.route("/login", methods=["GET", "POST"])
def login():
    form = LoginForm()
    if form.validate_on_submit():
        user = db.session.scalar(db.select(User).filter_by(email=form.email.data))
        if user and check_password_hash(user.password_hash, form.password.data):
            return sign_in(user)
        form.password.errors = ["The e-mail address or the password is wrong."]
    return page("Log in", form)


@app.route("/join", methods=["GET", "POST"])
def join():
    form = JoinForm()
    if form.validate_on_submit():
        if db.session.scalar(db.select(User).filter_by(email=form.email.data)):
            form.email.errors = ["There is an account with this address already."]
            return page("Join", form)
        hashed = generate_password_hash(form.password.data)
        user = User(email=form.email.data, name=form.name.data, password_hash=hashed)
        db.session.add(user)
        db.session.commit()
        return sign_in(user)
    return page("Join", form)


@app.post("/leave")
@login_required
def leave():
    Valetkey.revoke_owner(app, current_user.get_id())  # all their tokens become invalid within a second
    db.session.delete(current_user._get_current_object())
    db.session.commit()
    logout_user()
    return redirect(url_for("login"), 303)


@app.get("/")
@login_required
def home():
    return page(f"Hello {current_user.name}", FlaskForm(), action=url_for("leave"), button="Leave for ever")


def sign_in(user):
    login_user(user)
    session["signed_in_at"] = time.time()
    session["sid"] = uuid4().hex  # identifies this session to clients
    target = request.args.get("next", "/")
    if not re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", target):  # browsers skip a tab and read a backslash as a slash
        abort(400)  # only a path of this site is allowed
    return redirect(target, 303)


def page(title, form, action="", button=None):
    return render_template_string(PAGE, title=title, form=form, action=action, button=button)


PAGE = """<!doctype html><title>{{ title }}</title><h1>{{ title }}</h1>
<p><a href="{{ url_for('valetkey_resource_owner.account') }}">Connected apps</a></p>
<form method="post" action="{{ action }}">
{% for field in form %}<p>{% if field.type not in ('CSRFTokenField', 'SubmitField') %}{{ field.label }}{% endif %}
{{ field }} {{ field.errors|join }}</p>{% endfor %}
{% if button %}<button id="leave">{{ button }}</button>{% endif %}
</form>"""
