"""Pages for eyes: report, reference sheets, one image explained, and the review page. Values in, HTML and thumbnails out."""
