"""The speed figures behind `./tekana bench`, each beside a peer in the same minute."""
