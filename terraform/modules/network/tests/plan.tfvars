name  = "proof"
zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
