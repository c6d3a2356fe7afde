"""How collections of sign-language videos lie in folders, and which samples that makes."""
