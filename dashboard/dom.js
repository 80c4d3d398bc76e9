// Small hands for the document: nothing here knows what is counted.

/** Finds an element by id; a missing one is a bug in index.html. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/** Copies a template and returns its root and its named parts. */
export function stamp(templateId) {
  const root = byId(templateId).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const element of root.querySelectorAll("[data-part]")) parts[element.dataset.part] = element;
  return { root, parts };
}

/** Sets a text only if it differs, so that screen readers and layout have no work with unchanged numbers. */
export function setText(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

/** Sets or removes `hidden` only if it differs. */
export function setHidden(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Says whether the visitor asked for less motion. */
export function prefersCalm() {
  return calm.matches;
}

/** Sets a number and lets it light up for a moment if it changed from one number to another. */
export function setNumber(element, text) {
  const wasNumber = element.textContent !== "–";
  if (!setText(element, text) || !wasNumber || calm.matches) return;
  element.animate([{ opacity: 0.35 }, { opacity: 1 }], { duration: 450, easing: "ease-out" });
}

/** Runs a task at most once per screen refresh, however often it is asked for. */
export function oncePerFrame(task) {
  let isWaiting = false;
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      task();
    });
  };
}
