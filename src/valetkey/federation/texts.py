"""Sentences of pages about sign-in with a provider; see ``web/texts.py``. Names in braces are replaced."""

from __future__ import annotations

from collections.abc import Mapping

# The provider
UNREACHABLE = "{provider} cannot be reached at the moment"
MISCONFIGURED = "{provider} cannot be used at the moment"
UNTRUSTED_RESPONSE = "{provider} sent a response that does not belong to this sign-in"
NOT_SIGNED_IN = "{provider} did not sign you in"
NOT_RECENT = "The app requires you to sign in again, and {provider} does not confirm that you did"
ERRORS: Mapping[str, str] = {  # by the error code of the provider
    "access_denied": "You did not allow {provider} to sign you in",
    "user_cancelled_authorize": "You did not allow {provider} to sign you in",  # Apple
    "temporarily_unavailable": UNREACHABLE,
    "login_required": "{provider} requires you to sign in there",
}

# The browser
ANOTHER_BROWSER_OR_EXPIRED = "This sign-in was started in another browser, or has expired"
ANOTHER_BROWSER = "This sign-in was started in another browser"
EXPIRED = "This sign-in has expired"
ALREADY_ANSWERED = "{provider} has answered this sign-in already. Start it again"

# The account
ACCOUNT_CHANGED = "The account with your address was changed at the same time. Start the sign-in again"
ACCOUNT_DISABLED = "This account cannot be used"
ACCOUNT_EXISTS = (
    "There is already an account with the address {email}. Sign in to it as before, then connect {provider} on the "
    "account page"
)
NO_ADDRESS = "{provider} did not provide an e-mail address that can be used here"
SIGN_UP_OFF = "You have no account here, and you cannot create one with {provider}"
NOT_A_MEMBER = "This {provider} account does not belong to an organization whose members can sign up here"
ANOTHER_ACCOUNT = "You have signed in to another account"
SIGNED_OUT = "You are not signed in to your account any more"
OTHER_USER_CONNECTED = "Your account is connected with another {provider} account. Disconnect that one first"
CONNECTED_ELSEWHERE = "This {provider} account is connected with another account here"
