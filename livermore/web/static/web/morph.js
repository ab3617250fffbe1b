// Turns one piece of the page into its newer version and keeps focus, scroll and ticking ages.
export function morph(container, html) {
  const wanted = document.createElement("template");
  wanted.innerHTML = html;
  children(container, wanted.content);
}

function children(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, i) => {
    const here = old.childNodes[i];
    if (!here) old.append(node);
    else if (!alike(here, node)) here.replaceWith(node);
    else if (here.nodeType === Node.TEXT_NODE) {
      if (here.data !== node.data) here.data = node.data;
    } else if (here.nodeType === Node.ELEMENT_NODE) element(here, node);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

const alike = (a, b) => a.nodeName === b.nodeName && (a.id || "") === (b.id || "");

function element(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (!("at" in old.dataset) && !("span" in old.dataset)) children(old, fresh);
}
