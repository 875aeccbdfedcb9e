/* Before the first paint: this page has scripts. What only works without them must not appear and then jump away. */
"use strict";
document.documentElement.classList.add("js");
