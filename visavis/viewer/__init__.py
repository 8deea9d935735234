"""The browser viewer: TypeScript source and built bundle."""
