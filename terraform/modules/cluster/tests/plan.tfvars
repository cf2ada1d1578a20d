name                     = "proof"
kubernetes_version       = "1.35"
vpc_id                   = "vpc-0123456789abcdef0"
subnet_ids               = ["subnet-a", "subnet-b"]
control_plane_subnet_ids = ["subnet-c", "subnet-d"]
administrators           = { platform = "arn:aws:iam::111122223333:role/platform" }
