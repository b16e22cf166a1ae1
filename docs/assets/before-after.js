// Puts the two pictures of a <div class="before-after"> into one place, with a slider between
// them. Without this, as in the repository, they stand beside each other.

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

for (const box of document.querySelectorAll(".before-after")) {
  const [before, after] = box.querySelectorAll("img");
  const slider = element("input", { type: "range", value: 50 });
  slider.setAttribute("aria-label", `Border between ${before.alt} and ${after.alt}`);
  slider.addEventListener("input", () => box.style.setProperty("--at", `${slider.value}%`));
  const names = element("div", { className: "before-after__names" });
  names.append(...[before, after].map((image) => element("span", { textContent: image.alt })));
  const border = element("div", { className: "before-after__border" });
  box.replaceChildren(before, after, border, slider, names);
  box.classList.add("before-after--live");
}
