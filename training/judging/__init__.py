"""What a network and a package are worth: on clips, on streams, as a page and as a card; and how a package decides."""
