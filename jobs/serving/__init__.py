"""What readers follow: publications and look-up."""
