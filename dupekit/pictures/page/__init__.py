"""The review page: a review tree in the browser. A small server on this machine; every decision is a move of a file in the tree."""
