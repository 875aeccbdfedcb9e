"""Commands that measure the product and print medians, spread and n; none of them is a test."""
