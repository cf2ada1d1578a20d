repositories    = ["acme/app", "acme/worker"]
replica_regions = ["eu-west-1"]
