"""A linear readout of the tokens' embeddings, added up."""
