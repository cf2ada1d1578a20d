# An EKS cluster with every control in its strong form. What would weaken one is named unsafe_ and says so in each plan.

module "eks" {
  source  = "terraform-aws-modules/eks/aws"
  version = "21.19.0"

  name               = var.name
  kubernetes_version = var.kubernetes_version
  upgrade_policy     = { support_type = "STANDARD" }

  vpc_id                   = var.vpc_id
  subnet_ids               = var.subnet_ids
  control_plane_subnet_ids = var.control_plane_subnet_ids

  endpoint_private_access      = true
  endpoint_public_access       = length(var.unsafe_public_api_cidrs) > 0
  endpoint_public_access_cidrs = var.unsafe_public_api_cidrs

  # Who may do what stands in access entries, which IAM audits; the aws-auth config map is not read.
  authentication_mode                      = "API"
  enable_cluster_creator_admin_permissions = false
  access_entries = {
    for name, arn in var.administrators : name => {
      principal_arn = arn
      policy_associations = {
        admin = {
          policy_arn   = "arn:${data.aws_partition.this.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
          access_scope = { type = "cluster" }
        }
      }
    }
  }

  # Secrets in etcd, under a key of this account's that rotates.
  create_kms_key          = true
  enable_kms_key_rotation = true
  encryption_config       = { resources = ["secrets"] }

  enabled_log_types                      = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  create_cloudwatch_log_group            = true
  cloudwatch_log_group_retention_in_days = var.log_days

  deletion_protection = !var.unsafe_allow_deletion

  # Pods get their roles by Pod Identity, so no OIDC provider of the cluster stands in IAM for anybody to trust too widely.
  enable_irsa = false

  addons = {
    vpc-cni = {
      before_compute = true
      most_recent    = false
      addon_version  = lookup(var.addon_versions, "vpc-cni", null)
      # Without this, a NetworkPolicy is accepted and does nothing.
      configuration_values = jsonencode({ enableNetworkPolicy = "true" })
    }
    eks-pod-identity-agent = {
      before_compute = true
      most_recent    = false
      addon_version  = lookup(var.addon_versions, "eks-pod-identity-agent", null)
    }
    kube-proxy = {
      most_recent   = false
      addon_version = lookup(var.addon_versions, "kube-proxy", null)
    }
    coredns = {
      most_recent   = false
      addon_version = lookup(var.addon_versions, "coredns", null)
    }
  }

  eks_managed_node_groups = {
    system = {
      ami_type       = "BOTTLEROCKET_x86_64"
      instance_types = var.nodes.instance_types
      min_size       = var.nodes.min
      max_size       = var.nodes.max
      desired_size   = var.nodes.desired

      # A pod cannot reach the node's role: one hop, and only with a session token.
      metadata_options = {
        http_endpoint               = "enabled"
        http_tokens                 = "required"
        http_put_response_hop_limit = 1
      }
      # Bottlerocket keeps its own system on the first disk and images and pods on the second.
      block_device_mappings = {
        system = {
          device_name = "/dev/xvda"
          ebs         = { volume_size = 4, volume_type = "gp3", encrypted = true, delete_on_termination = true }
        }
        data = {
          device_name = "/dev/xvdb"
          ebs         = { volume_size = var.nodes.disk_gib, volume_type = "gp3", encrypted = true, delete_on_termination = true }
        }
      }
      update_config = { max_unavailable = 1 }
    }
  }

  # The API server calls Kyverno's webhook on 9443, and the metrics server on 10250 is among the recommended rules.
  node_security_group_additional_rules = {
    kyverno_webhook = {
      description                   = "API server to Kyverno's webhook"
      protocol                      = "tcp"
      from_port                     = 9443
      to_port                       = 9443
      type                          = "ingress"
      source_cluster_security_group = true
    }
  }

  tags = var.tags
}

data "aws_partition" "this" {}

check "api_server_is_private" {
  assert {
    condition     = length(var.unsafe_public_api_cidrs) == 0
    error_message = "UNSAFE: the API server answers on the internet to ${join(", ", var.unsafe_public_api_cidrs)}. Empty unsafe_public_api_cidrs when the charts are installed."
  }
}

check "cluster_is_protected" {
  assert {
    condition     = !var.unsafe_allow_deletion
    error_message = "UNSAFE: unsafe_allow_deletion lets one call delete the cluster."
  }
}
