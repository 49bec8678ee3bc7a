// Swaps what changes by itself for what the server renders now. Without this script the page reloads itself.
(function () {
    "use strict";
    const live = document.getElementById("live");
    const stale = document.getElementById("stale");
    if (!live) { return; }
    const address = new URL(window.location.href);
    address.searchParams.set("part", "live");

    async function refresh() {
        if (!document.hidden) {
            try {
                const answer = await fetch(address, { credentials: "same-origin", cache: "no-store", redirect: "error" });
                if (!answer.ok) { throw new Error(String(answer.status)); }
                const open = [...live.querySelectorAll("details[open]")].map((each) => each.id);
                const focused = document.activeElement && live.contains(document.activeElement)
                    ? document.activeElement.getAttribute("href") : null;
                live.innerHTML = await answer.text();
                open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
                if (focused) { live.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus(); }
                stale.hidden = true;
            } catch (error) {
                stale.hidden = false;
            }
        }
        window.setTimeout(refresh, 1000 * Number(live.dataset.refreshSeconds));
    }
    window.setTimeout(refresh, 1000 * Number(live.dataset.refreshSeconds));
})();
