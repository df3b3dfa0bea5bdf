"""Published systems, rebuilt: one file a paper, its own figures beside ours."""
