// Runs once when the avatar's element is on the page: `element`, `props` and `watch` come from Gradio.
const known = __KNOWN__;
const base = new URL((window.gradio_config?.root || "").replace(/\/?$/, "/") || "./", window.location.href);
const host = () => element.querySelector(".vv-host");
let module = null;

function connect() {
  const session = props.value?.session;
  const stage = host();
  if (!module || !session || !stage || stage.dataset.session === session) return;
  stage.visavis?.dispose();
  stage.dataset.session = session;
  const socket = new URL(`ws?session=${encodeURIComponent(session)}`, base);
  socket.protocol = base.protocol === "https:" ? "wss:" : "ws:";
  stage.visavis = module.mount(stage, {
    socketUrl: socket.href,
    avatarUrl: new URL(`visavis/avatar.vrm?v=${known.avatar}`, base).href,
    bones: known.bones,
    morphs: known.morphs,
    hipsHeight: known.hips_height,
    presets: known.presets,
  });
}

import(new URL(`visavis/viewer.js?v=${known.version}`, base).href)
  .then((loaded) => {
    module = loaded;
    connect();
  })
  .catch((error) => {
    console.error("visavis:", error);
    if (host()) host().textContent = "The avatar could not be loaded.";
  });
watch("value", connect);

// The body attends while the user types.
let quiet = 0;
const typing = (active) => {
  clearTimeout(quiet);
  host()?.visavis?.typing(active);
  if (active) quiet = setTimeout(() => typing(false), 2500);
};
document.addEventListener("input", (event) => {
  if (event.target.closest?.("#vv-say")) typing(event.target.value !== "");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.closest?.("#vv-say")) typing(false);
});
document.addEventListener("click", (event) => {
  if (event.target.closest?.("#vv-send")) typing(false);
});
