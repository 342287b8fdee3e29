// What the start page adds: addresses as they are typed, and what happens while a server is examined.
