"""For harnesses of others: a scikit-learn classifier, and our data sets in MOABB."""
