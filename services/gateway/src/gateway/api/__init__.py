"""HTTP in: the guard before everything, sign-in, portal pages, live events, the viewer."""
