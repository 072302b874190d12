"""`glidepath eval`: one prompt set through both arms before the first percent of traffic."""
