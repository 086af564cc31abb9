"""The pages, one module each; they hold no rule, only where things stand."""
