// Posts the form once: a click on the button while the app has not responded yet would send the code again.
const form = document.forms[0];
form.addEventListener("submit", (event) => event.preventDefault());
form.submit();
