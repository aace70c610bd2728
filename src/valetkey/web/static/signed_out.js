// Goes on to the app once: when all frames are loaded, after 3 seconds, or when the link is clicked, whichever is first.
const link = document.getElementById("continue");
let hasGoneOn = false;
const goOn = () => {
  if (hasGoneOn) return;
  hasGoneOn = true;
  location.replace(link.href);
};
link.addEventListener("click", (event) => {
  // The page stays if the link opens an app on the device, which a browser may do on a click only.
  if (hasGoneOn && !link.protocol.startsWith("http")) return;
  event.preventDefault();
  goOn();
});
addEventListener("load", goOn);
setTimeout(goOn, 3000);
