"""Sentences about requests that are refused, as pages show them to users; see ``web/texts.py``."""

from __future__ import annotations

# Authorization requests
MISSING_REDIRECT_URI = "The app's request has no return address (redirect_uri is missing)."
REGISTRATION_CHANGED = "The registration of this app has changed. Go back to the app and start again."
MISSING_CLIENT_ID = "The app did not identify itself (client_id is missing)."
UNKNOWN_APP = "This app is not registered here, or is disabled."
UNKNOWN_REDIRECT_URI = "The app's return address is not registered (redirect_uri)."
REPEATED_PARAMETER = "The app sent {name} more than once."
REQUEST_TOO_LONG = "The app's request is longer than {length} bytes."
UNSUPPORTED_FORMAT = "The app sent its request in a format that is not supported."
NOT_FORM_ENCODED = "The app's request is too long, or not form-encoded."
TOO_MANY_SIGN_INS = "Too many sign-ins were started from your network."
ALREADY_ANSWERED = "This request was answered already. Start again from the app."
OTHER_BROWSER = "This request was started in another browser. Go back to the app and start again."
REQUEST_EXPIRED = "This request has expired. Start again from the app."
SETTINGS_CHANGED = "The settings of this site have changed. Go back to the app and start again."
ACCOUNT_UNUSABLE = "This account cannot be used."
APP_UNUSABLE = "This app cannot be used."
APP_ERROR_ADVICE = (
    "This is an error of the app, which did not get access to your account. "
    "Report it to the app's developer, with the reference below."
)

# Sign-out
EXPIRED_HINT = "This link has expired. Go back to the app and try again."
FOREIGN_ID_TOKEN = "The app sent an ID token that this site did not issue (id_token_hint)."
ID_TOKEN_OF_OTHER_APP = "The app sent an ID token of another app (client_id and id_token_hint do not match)."
MISSING_ID_TOKEN = "The app did not identify itself (id_token_hint or client_id is missing)."
UNKNOWN_LOGOUT_URI = "The app's return address is not registered (post_logout_redirect_uri)."

# Devices
FOREIGN_LETTER = "This code contains {character}. A code has Latin letters only: check the keyboard."
UNKNOWN_CODE = "This code is wrong or has expired. Check it, or get a new one on the device."
CLOSED_CODE = "This code was already used or has expired. Start again on the device."
TOO_MANY_CODES = "Too many codes were entered."
CODE_OF_OTHER_BROWSER = "This code was entered in another browser."
SIGN_IN_TIME_UNKNOWN = "The app needs to know when you signed in, and that is unknown. Sign in in another way."
CODE_OF_EARLIER_SIGN_IN = "This code was entered in an earlier sign-in."

# Personal access tokens
TOKEN_ALREADY_CREATED = "This token was already created. Its value is shown only once."
NAME_PROBLEM = "The name {problem}."
SCOPE_NOT_FOR_TOKENS = "A personal access token cannot have this scope."
NO_SCOPE_CHOSEN = "Choose at least one permission."
EXPIRES_IN_PAST = "The token must expire in the future."
EXPIRES_TOO_LATE = "The token must expire within {days} days."
TOO_MANY_TOKENS = "There are {maximum} tokens already; revoke one that is not used."
