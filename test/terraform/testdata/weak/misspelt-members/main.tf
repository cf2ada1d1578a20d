# terraform validates and plans this without a word.
module "eks" {
  source  = "terraform-aws-modules/eks/aws"
  version = "21.19.0"

  name = "proof"
  addons = {
    vpc-cni = {
      before_computing = true # want: addons.vpc-cni has no member before_computing; did you mean before_compute?: terraform would drop it in silence
    }
  }
  encryption_config = { ressources = ["secrets"] } # want: encryption_config has no member ressources; did you mean resources?: terraform would drop it in silence
  eks_managed_node_groups = {
    for name in ["a", "b"] : name => {
      metadata_options = merge({
        http_put_response_hop_limt = 1 # want: eks_managed_node_groups[].metadata_options has no member http_put_response_hop_limt; did you mean http_put_response_hop_limit?: terraform would drop it in silence
      }, {})
      block_device_mappings = local.disks
    }
  }
}

locals {
  disks = { root = { ebs = { encrypted = true, kms_key = "x" } } } # want: eks_managed_node_groups[].block_device_mappings.root.ebs has no member kms_key; did you mean kms_key_id?: terraform would drop it in silence
}

module "identity" {
  source = "./identity"

  people = [{ name = "a", rol = "admin" }] # want: people[] has no member rol; did you mean role?: terraform would drop it in silence
}
