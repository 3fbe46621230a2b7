"""What the Ansible module community.okd.openshift_adm_prune_images
decides on the same clusters: equal where it is right.
"""
